# Beside Table 6: the names of the catalogue that are most similar to the picture.
_base_ = '../eclip_vitb16.py'
model = dict(negative_queries=dict(type='CatalogueNegatives'))
