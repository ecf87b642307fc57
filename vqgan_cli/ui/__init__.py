"""The page of ``vqgan ui``: a tab per tool, made with gradio, which nothing else imports."""
