"""What a node keeps on disk: blocks, votes, snapshots, blobs, keys."""
