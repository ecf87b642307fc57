"""What `vqgan generate` is made of: class names, drawing, rejection, and the folder of samples."""
