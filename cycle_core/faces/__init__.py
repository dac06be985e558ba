"""Faces: found in a photo, cropped as FFHQ does, and edited crops put back."""
