"""Networks: image encoders, view fusion, fully connected heads."""

from robobase.models.encoder import EncoderCNNMultiViewDownsampleWithStrides, EncoderModule
from robobase.models.fully_connected import (
    FullyConnectedModule,
    MLPWithBottleneckFeatures,
    MLPWithBottleneckFeaturesAndSequenceOutput,
    MLPWithBottleneckFeaturesAndWithoutHead,
    RNNFullyConnectedModule,
)
from robobase.models.fusion import (
    FusionModule,
    FusionMultiCamFeature,
    FusionMultiCamFeatureAttention,
)

__all__ = [
    "EncoderCNNMultiViewDownsampleWithStrides",
    "EncoderModule",
    "FullyConnectedModule",
    "FusionModule",
    "FusionMultiCamFeature",
    "FusionMultiCamFeatureAttention",
    "MLPWithBottleneckFeatures",
    "MLPWithBottleneckFeaturesAndSequenceOutput",
    "MLPWithBottleneckFeaturesAndWithoutHead",
    "RNNFullyConnectedModule",
]
