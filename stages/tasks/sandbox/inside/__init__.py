"""What runs within the sandbox: the standard library only, and nothing of the rest of `stages`.

It is started as a package of its own, hence the relative imports.
"""
