"""Operations on requests, dispatch, credentials and processes."""
