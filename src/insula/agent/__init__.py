"""What runs inside a sandbox: pid 1, and the relay from 127.0.0.1 to the door.

Standard library only, and as little of that as can be: every import here delays every run. The folder is
mounted in the sandbox and run as a file; nothing of the platform imports it, and it knows nothing of the
platform but the door's path.
"""
