"""Edit directions: what turns a code into the code of an edited picture.

base        what every type of direction can do, and what its module says about it
direction   vectors in W and W+: InterFaceGAN, GANSpace, SeFa and our own
stylespace  style channels, and StyleCLIP's global directions, which move them
mapper      StyleCLIP's latent mappers, whose move depends on the code
published   directions in the files of other projects
files       all types of directions, by name and by path; writing them
discovery   directions found: labelled codes, pictures with and without an attribute, GANSpace,
            SeFa; what a strength does, measured
editing     codes moved along directions, mixed and interpolated
text        edits as one writes them: smile=2,age=+1,keep=glasses
syntax      what texts and files of directions share
"""
