"""Built datasets on disk: poses, images by index, and the augmentation of images."""
