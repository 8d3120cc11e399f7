"""The store of bytes: on disk or in S3, with the one way in for whatever is kept there."""
