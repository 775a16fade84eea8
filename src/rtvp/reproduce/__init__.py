"""The paper's experiments, from data to tables and pictures with the paper's figures beside ours."""
