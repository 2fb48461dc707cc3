"""Drawing shared by pages: domain objects in, figures out."""
