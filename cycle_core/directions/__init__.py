"""Edit directions: what turns a code into the code of an edited picture."""
