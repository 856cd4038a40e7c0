"""From prepared datasets on disk to batches: source, transforms, pipeline."""
