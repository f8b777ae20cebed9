"""Objects as Kubernetes knows them: what a kind looks like, what is stored, and how it may change. Nothing here acts on them."""
