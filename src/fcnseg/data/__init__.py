"""Images and masks: data sets, transforms, samplers and the LightningDataModule."""
