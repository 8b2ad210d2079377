"""gRPC front: servicers, client, generated code, and the mapping of errors to statuses."""
