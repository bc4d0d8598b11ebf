"""HTTP/1.1 on httptools and uvloop: sockets to requests, replies to sockets."""
