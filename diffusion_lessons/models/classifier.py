"""The classifier that judges samples: which digit is it, and how alike are two sets of pictures?"""

from torch import Tensor, nn


class Classifier(nn.Module):
    """Convolutions from pictures [B, in_channels, 28, 28] in -1..1 to class logits [B, classes].

    `features` gives the layer before the last, in which distributions are compared.
    """

    def __init__(
        self, in_channels: int = 1, channels: int = 32, features: int = 64, classes: int = 10
    ) -> None:
        super().__init__()
        self.config = {
            "in_channels": in_channels,
            "channels": channels,
            "features": features,
            "classes": classes,
        }

        def layer(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
            conv = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU())

        c = channels
        self.body = nn.Sequential(
            layer(in_channels, c),
            layer(c, c),
            layer(c, 2 * c, stride=2),  # 28 -> 14
            layer(2 * c, 2 * c),
            layer(2 * c, 4 * c, stride=2),  # 14 -> 7
            layer(4 * c, 4 * c),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * c, features),
        )
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(features, classes)

    def features(self, x: Tensor) -> Tensor:
        """Pictures [B, in_channels, H, W] -> features [B, features]."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.dropout(self.features(x)))
