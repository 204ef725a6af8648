"""Services of any image, as ``berth_services`` declares them."""
