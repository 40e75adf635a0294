"""A page on this computer on which a person draws and sees what the classifier makes of it."""
