"""Options of the data sets (`tasks.datasets`), and what each offers to metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from .options import Count, Dim, NonNegative, Options, Part, Positive, Real, Size, refuse


class DatasetOptions(Options):
    """What a task may ask of any data set."""

    @property
    def train_size(self) -> int:
        """Number of training examples."""
        return getattr(self, "train", 1)

    @property
    def offers(self) -> frozenset[str]:
        """What metrics may require of it: validation | test | classification | agop | single_example."""
        sized = {name for name in ("validation", "test") if getattr(self, name, 0)}
        return frozenset(sized | self.special)

    @property
    def special(self) -> set[str]:
        """What this data set offers beyond its splits."""
        return set()


class Splits(DatasetOptions):
    example: ClassVar[Mapping[str, Any]] = {"train": 12, "validation": 6, "test": 8}

    train: Count
    """Number of training examples."""
    validation: Size = 0
    """Number of validation examples; 0 for none."""
    test: Size = 0
    """Number of test examples; 0 for none."""


class MonomialOptions(Splits):
    """Product of a few coordinates of Gaussian inputs."""

    example: ClassVar[Mapping[str, Any]] = {"dim": 4}

    dim: Dim
    """Input dimension d."""
    factors: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=16)] = [0, 1]
    """Indices of the multiplied coordinates, from 0; an index may repeat."""
    noise: NonNegative = 0.0
    """Standard deviation of Gaussian noise on the training targets."""

    @property
    def special(self) -> set[str]:
        return {"agop"}

    @model_validator(mode="after")
    def _inside(self) -> MonomialOptions:
        if max(self.factors) >= self.dim:
            raise refuse(f"factors must be below dim = {self.dim}, got {max(self.factors)}", "factors")
        return self


class LowRankPolynomialOptions(Splits):
    """Sum of Hermite polynomials along a few hidden directions of Gaussian inputs."""

    example: ClassVar[Mapping[str, Any]] = {"dim": 4, "rank": 2, "degree": 3}

    dim: Dim
    """Input dimension d."""
    rank: Annotated[int, Field(ge=1, le=1000)]
    """Number of hidden directions."""
    degree: Annotated[int, Field(ge=1, le=10)]
    """Degree of the polynomial."""
    noise: NonNegative = 0.0
    """Standard deviation of Gaussian noise on the training targets."""

    @property
    def special(self) -> set[str]:
        return {"agop"}

    @model_validator(mode="after")
    def _inside(self) -> LowRankPolynomialOptions:
        if self.rank > self.dim:
            raise refuse(f"rank must be at most dim = {self.dim}, got {self.rank}", "rank")
        return self


class GaussianMixtureOptions(Splits):
    """Equally likely Gaussian classes; labels -1 and 1 for two, one-hot rows for more."""

    example: ClassVar[Mapping[str, Any]] = {"dim": 4}

    dim: Dim
    """Input dimension d."""
    classes: Annotated[int, Field(ge=2, le=1000)] = 2
    """Number of classes."""
    separation: NonNegative = 4.0
    """Distance between any two class centres, in standard deviations of a class."""
    mean_scale: NonNegative = 0.0
    """Norm of the centres' common mean."""

    @property
    def special(self) -> set[str]:
        return {"classification"}

    @model_validator(mode="after")
    def _room(self) -> GaussianMixtureOptions:
        if self.dim < self.classes + 1:
            raise refuse(f"{self.classes} centres and their mean need dim >= {self.classes + 1}, got {self.dim}", "dim")
        return self


class SphereOptions(Splits):
    """Inputs uniform on a sphere."""

    example: ClassVar[Mapping[str, Any]] = {"dim": 4}

    dim: Dim
    """Input dimension d."""
    radius: Literal["sqrt_dim", "unit"] = "sqrt_dim"
    """Norm of every input: sqrt(d) or 1."""
    target: Literal["linear", "sign", "noise"] = "linear"
    """A random linear function, its sign, or labels unrelated to the inputs."""

    @property
    def special(self) -> set[str]:
        return {"linear": {"agop"}, "sign": {"classification"}}.get(self.target, set())


class SingleExampleOptions(DatasetOptions):
    """One input in a random direction, and its target."""

    example: ClassVar[Mapping[str, Any]] = {"dim": 4}

    dim: Dim
    """Input dimension d."""
    norm: Literal["sqrt_dim"] | Positive = "sqrt_dim"
    """Norm of the input: sqrt(d) or a number."""
    target: Real = 1.0
    """The target y."""

    @property
    def special(self) -> set[str]:
        return {"single_example"}


Pair = Annotated[list[Real], Field(min_length=2, max_length=2)]


class TwoClustersOptions(Splits):
    """Scalar inputs around two means, one label per cluster."""

    means: Pair = [2.6, -2.0]
    """Centres of the two clusters, of unit variance."""
    weights: Pair = [0.5, 0.5]
    """Shares of the examples; they sum to 1."""
    labels: Pair = [1.0, -1.0]
    """Targets of the two clusters."""

    @property
    def special(self) -> set[str]:
        return {"classification"} if sorted(self.labels) == [-1.0, 1.0] else set()

    @model_validator(mode="after")
    def _shares(self) -> TwoClustersOptions:
        if min(self.weights) <= 0 or abs(sum(self.weights) - 1) > 1e-9:
            raise refuse(f"weights must be positive with sum 1, got {self.weights}", "weights")
        return self


class ReferenceOptions(Part):
    """A reference model: the mean of wide ReLU networks without biases, trained by Adam from small weights."""

    width: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Width of every hidden layer."""
    depth: Annotated[int, Field(ge=1, le=100)] = 1
    """Number of hidden layers."""
    members: Annotated[int, Field(ge=1, le=100)] = 4
    """Number of networks whose outputs are averaged."""
    weights: Positive = 0.3
    """Standard deviation of the hidden weights at the start; the output layer starts at 0."""
    learning_rate: Positive = 0.01
    """Adam's learning rate, on all examples outside the test split at once."""
    train_loss: NonNegative = 0.01
    """Each network stops at this mean squared error."""
    steps: Count = 3000
    """Or after so many steps."""


class Recorded(Splits):
    """Data whose true function is not known."""

    reference: ReferenceOptions | None = None
    """A model that is trained on every example outside the test split, in place of the true function."""

    @model_serializer(mode="wrap")
    def _given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a reference the data are what they were before there were any, and so are the digests of cells."""
        return {name: value for name, value in dump(self).items() if name != "reference" or value is not None}

    @property
    def offers(self) -> frozenset[str]:
        return super().offers | ({"agop", "reference"} if self.reference is not None else set())

    @property
    def pool_size(self) -> int:
        """How many examples there are outside the test split."""
        raise NotImplementedError


class BundledOptions(Recorded):
    """A small real data set; ``available`` examples in all."""

    train: Annotated[int, Field(ge=2, le=10_000)]
    """Number of training examples."""
    task: Literal["regression", "two_class"]
    """What is predicted."""

    @property
    def special(self) -> set[str]:
        return {"classification"} if self.task == "two_class" else set()

    @property
    def available(self) -> int:
        """How many examples there are."""
        raise NotImplementedError

    @property
    def pool_size(self) -> int:
        return self.available - self.test

    @model_validator(mode="after")
    def _enough(self) -> BundledOptions:
        asked = self.train + self.validation + self.test
        if asked > self.available:
            raise refuse(f"only {self.available} examples exist; train + validation + test asks for {asked}", "train")
        return self


class DigitsOptions(BundledOptions):
    """Hand-written digits, 8 x 8 pixels."""

    IMAGES: ClassVar[tuple[int, ...]] = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)

    task: Literal["regression", "two_class"] = "two_class"
    """The digit's value, or which of the two `classes` it is."""
    classes: Annotated[list[Annotated[int, Field(ge=0, le=9)]], Field(min_length=2, max_length=2)] = [3, 8]
    """The two digits of `two_class`; labels 1 and -1."""
    normalize: Literal["sqrt_dim", "unit", "standard"] = "sqrt_dim"
    """Norm 8 or 1 for every image, or variance 1 for every pixel."""

    @property
    def available(self) -> int:
        return sum(self.IMAGES if self.task == "regression" else (self.IMAGES[k] for k in self.classes))

    @model_validator(mode="after")
    def _different(self) -> DigitsOptions:
        if self.classes[0] == self.classes[1]:
            raise refuse(f"classes must be two different digits, got {self.classes}", "classes")
        return self


class DiabetesOptions(BundledOptions):
    """Disease progression of 442 patients from ten measurements."""

    task: Literal["regression", "two_class"] = "regression"
    """The progression, or whether it is above the training median."""
    normalize: Literal["sqrt_dim", "unit", "standard"] = "standard"
    """Norm sqrt(10) or 1 for every patient, or variance 1 for every measurement."""

    @property
    def available(self) -> int:
        return 442


class ImageOptions(Recorded):
    """Some classes of a public image set, downloaded when first used."""

    TRAIN: ClassVar[tuple[int, ...]]
    """Images of each class in the publisher's training set."""
    TEST: ClassVar[tuple[int, ...]]
    """Images of each class in the publisher's test set."""
    example: ClassVar[Mapping[str, Any]] = {"classes": [0, 2]}

    classes: Annotated[list[Annotated[int, Field(ge=0, le=9)]], Field(min_length=2, max_length=10)]
    """The classes that are told apart: labels 1 and -1 for two, one-hot rows in this order for more."""
    train: Annotated[int, Field(ge=2, le=100_000)]
    """Number of training examples."""
    normalize: Literal["sqrt_dim", "unit", "standard"] = "sqrt_dim"
    """Norm sqrt(d) or 1 for every image, or variance 1 for every pixel; centred in all three."""

    @property
    def special(self) -> set[str]:
        return {"classification"}

    @property
    def pool_size(self) -> int:
        return sum(self.TRAIN[label] for label in self.classes)

    @model_validator(mode="after")
    def _enough_images(self) -> ImageOptions:
        if len(set(self.classes)) < len(self.classes):
            raise refuse(f"classes must differ, got {self.classes}", "classes")
        for field, counts, asked, what in (
            ("train", self.TRAIN, self.train + self.validation, "train + validation"),
            ("test", self.TEST, self.test, "test"),
        ):
            available = sum(counts[label] for label in self.classes)
            if asked > available:
                raise refuse(f"only {available} {what} images of {self.classes} exist; {asked} are asked for", field)
        return self


class MnistOptions(ImageOptions):
    """Handwritten digits, 28 x 28 pixels, flat."""

    TRAIN = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    TEST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)


class FashionMnistOptions(ImageOptions):
    """Articles of clothing, 28 x 28 pixels, flat; 0 is T-shirt, 2 is pullover, 6 is shirt."""

    TRAIN = (6000,) * 10
    TEST = (1000,) * 10


class Cifar10Options(ImageOptions):
    """Colour photographs, 3 channels of 32 x 32 pixels, flat; 0 is airplane, 2 is bird."""

    TRAIN = (5000,) * 10
    TEST = (1000,) * 10


class SvhnOptions(ImageOptions):
    """House numbers, 3 channels of 32 x 32 pixels, flat; the classes are the digits."""

    TRAIN = (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659)
    TEST = (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595)
