"""The API as Kubernetes speaks it, good enough for kubectl on the kinds that there are."""
