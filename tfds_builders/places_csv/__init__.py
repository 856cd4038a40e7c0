"""Any folder of images with a places.csv."""
