"""What is wrong with a dataset, found without stopping at the first fault: nothing in it is changed."""
