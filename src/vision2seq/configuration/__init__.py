"""What a checkpoint says about itself: config.json and generation_config.json."""
