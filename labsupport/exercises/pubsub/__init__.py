"""The checks of the lessons on publish–subscribe, one module for each exercise, and the stage that they share."""
