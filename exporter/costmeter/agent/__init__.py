"""The agent: the process that runs on each GPU node. Few imports, and none of the server's."""
