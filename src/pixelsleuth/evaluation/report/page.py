def write_report(out, pictures):
    pass
