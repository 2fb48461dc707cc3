"""Messages to programs elsewhere: signed and kept until they are taken (Standard Webhooks 1.0), or a plain POST."""
