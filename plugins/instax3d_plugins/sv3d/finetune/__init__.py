"""Fine-tuning of SV3D on turntables of heads (the paper's first stage)."""
