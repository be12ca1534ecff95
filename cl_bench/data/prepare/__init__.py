"""Downloads of the real data sets, and the subsets cut from them; nothing else imports it."""
