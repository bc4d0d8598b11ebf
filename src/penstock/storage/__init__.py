"""Where bytes and rows are kept: blobs in a folder or S3, and the database engine."""
