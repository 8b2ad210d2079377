"""The wire: servicers that convert, call a service and convert; generated code; errors to statuses."""
