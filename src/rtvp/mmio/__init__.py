"""The benchmark builder: public defect sets, in the layouts they came in, read into one schema. No torch."""
