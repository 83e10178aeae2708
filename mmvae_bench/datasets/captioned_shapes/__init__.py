"""Generated pictures of shapes and captions that name them."""
