"""What can be served: one module or package per platform, and the signatures they share."""
