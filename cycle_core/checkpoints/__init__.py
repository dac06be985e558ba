"""Model files: read them safely, tell what they are, and bring them into our layout.

`native` is the layout that this project writes; `registry` lists every other that it opens, one
module a format; `reading` turns any file into plain data without running code that is stored in it.
"""
