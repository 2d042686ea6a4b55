"""The garbage collector sees everything that native types hold, and failures leave it nothing to do."""
