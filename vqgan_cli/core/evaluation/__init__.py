"""What evaluations share: features of images, figures, reports."""
