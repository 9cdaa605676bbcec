"""Find good action sequences, given what sequences cost."""
