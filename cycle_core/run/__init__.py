"""The whole way for one picture or a folder of them, and the results that it writes."""
