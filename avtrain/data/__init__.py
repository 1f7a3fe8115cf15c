"""From a shard set to batches: order, reading, views, augmentation."""
