"""The embedded domain: procedural portraits whose causes are all known exactly."""
