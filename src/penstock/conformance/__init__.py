"""Cases that tell whether a server keeps a contract, to be pointed at any server: ours, or another one."""
