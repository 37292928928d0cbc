"""From images, folders and videos of any size to masks and pictures, and VOC's server."""
