"""The data sets that hugbench knows by name. No torch."""

from __future__ import annotations

from dataclasses import dataclass

_IDX = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_DIGITS = tuple("0123456789")
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100 = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly "
    "camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup "
    "dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower "
    "leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid "
    "otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray "
    "road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar "
    "sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle "
    "wardrobe whale willow_tree wolf woman worm"
)
_KRIZHEVSKY = "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"


@dataclass(frozen=True)
class Known:
    """A published data set.

    Attributes:
        name: as in a suite.
        title: what it is, in a line.
        classes: names in the order of the labels, which is torchvision's; empty where only the folders
            know them, and then the labels follow the order of these names.
        channels: 1 (greyscale) or 3.
        image_size: pixels a side; None where the images are of different sizes.
        train, test: number of images.
        source: the publication.
        torchvision: the name of its class in `torchvision.datasets`; None for others.
        files: what that class reads, relative to the data folder.
        archives: what it downloads and unpacks, relative to the data folder.
        embedded: the images come with a package.
        folders: how many classes there are where `classes` is empty.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    channels: int
    image_size: int | None
    train: int
    test: int
    source: str
    torchvision: str | None = None
    files: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    embedded: bool = False
    folders: int = 0

    @property
    def class_count(self) -> int:
        """The number of classes."""
        return self.folders or len(self.classes)


def _idx(name: str, title: str, kind: str, classes: tuple[str, ...], source: str) -> Known:
    """A set in the format and of the size of MNIST."""
    files = tuple(f"{kind}/raw/{file}" for file in _IDX)
    archives = tuple(f"{file}.gz" for file in files)
    return Known(name, title, classes, 1, 28, 60_000, 10_000, source, kind, files, archives)


_ALL = (
    Known(
        "digits",
        "handwritten digits, embedded in scikit-learn",
        _DIGITS,
        1,
        8,
        1_437,
        360,
        "E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test part)",
        embedded=True,
    ),
    _idx(
        "mnist",
        "MNIST, handwritten digits",
        "MNIST",
        _DIGITS,
        "Y. LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 86(11), 1998",
    ),
    _idx(
        "fashion_mnist",
        "Fashion-MNIST, pictures of clothes",
        "FashionMNIST",
        _FASHION,
        "H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv 1708.07747, 2017",
    ),
    _idx(
        "kmnist",
        "Kuzushiji-MNIST, cursive Japanese characters",
        "KMNIST",
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        "T. Clanuwat et al., Deep Learning for Classical Japanese Literature, arXiv 1812.01718, 2018",
    ),
    Known(
        "svhn",
        "SVHN, street view house numbers, cropped digits",
        _DIGITS,
        3,
        32,
        73_257,
        26_032,
        "Y. Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011",
        torchvision="SVHN",
        files=("train_32x32.mat", "test_32x32.mat"),
        archives=("train_32x32.mat", "test_32x32.mat"),
    ),
    Known(
        "cifar10",
        "CIFAR-10, natural images",
        tuple(_CIFAR10.split()),
        3,
        32,
        50_000,
        10_000,
        _KRIZHEVSKY,
        torchvision="CIFAR10",
        files=tuple(
            f"cifar-10-batches-py/{file}"
            for file in ("batches.meta", *(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
        ),
        archives=("cifar-10-python.tar.gz",),
    ),
    Known(
        "cifar100",
        "CIFAR-100, natural images, fine labels",
        tuple(_CIFAR100.split()),
        3,
        32,
        50_000,
        10_000,
        _KRIZHEVSKY,
        torchvision="CIFAR100",
        files=("cifar-100-python/meta", "cifar-100-python/train", "cifar-100-python/test"),
        archives=("cifar-100-python.tar.gz",),
    ),
    Known(
        "imagenet",
        "ImageNet-1k (ILSVRC 2012), photographs",
        (),
        3,
        None,
        1_281_167,
        50_000,
        "O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 115, 2015",
        folders=1000,
    ),
)
KNOWN = {known.name: known for known in _ALL}
