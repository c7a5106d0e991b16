"""A product's profile narrows what its purposes may have, and never widens it (财办会〔2025〕32号 三(四): the bank states its data needs).

The policies intersect profile and matrix in any case; here a profile that hopes for more is refused while somebody can still correct it.
"""

from collections.abc import Container, Iterable, Mapping

from consent.errors import InvalidRequest
from consent.parties.model import Product

Needed = Mapping[str, Container[str]]
"""By purpose, the items that the matrix in force lists for it."""


def check_profiles(products: Iterable[Product], needed: Needed) -> None:
    """See that each item of each profile is needed for one of the product's purposes.

    Raises:
        InvalidRequest: `product.not_necessary`; names the item, which is one of the catalogue's.
    """
    for product in products:
        for item in product.items or ():
            if not any(item in needed.get(purpose, ()) for purpose in product.purposes):
                raise InvalidRequest(
                    f"产品 {product.code} 的数据需求超出用途矩阵：{item} 对其用途并非必需，请删去。",
                    f"The profile of product {product.code} goes beyond the matrix: none of its purposes needs {item}. Leave it out.",
                    code="product.not_necessary",
                    member="products.items",
                )
