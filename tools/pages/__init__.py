"""What the site shows and nobody writes by hand: pages' generated parts, the navigation, pages of linked sources."""
