"""What browsers show: the dashboard, the login, the documentation of the API. Nothing is loaded from elsewhere."""
