package main

import (
	"context"
	"crypto/rand"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"example.com/shopping/product-info/ecommerce"
)

// Any caller can add products, and they are kept in memory.
const productsMax = 100_000

// products is the service. It keeps the products in a map until the process exits.
type products struct {
	ecommerce.UnimplementedProductInfoServer
	mu   sync.RWMutex
	byID map[string]*ecommerce.Product
}

func newProducts() *products {
	return &products{byID: map[string]*ecommerce.Product{}}
}

// AddProduct uses the product's id, or creates one.
func (p *products) AddProduct(_ context.Context, sent *ecommerce.Product) (*ecommerce.ProductID, error) {
	if sent.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "name is required")
	}
	if sent.GetPriceMinor() < 0 {
		return nil, status.Error(codes.InvalidArgument, "price_minor must not be negative")
	}
	// Products in the map never change, so they can be returned without a copy.
	product := proto.CloneOf(sent)
	if product.Id == "" {
		product.Id = rand.Text()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, taken := p.byID[product.Id]; taken {
		return nil, status.Error(codes.AlreadyExists, "another product has this id")
	}
	if len(p.byID) >= productsMax {
		return nil, status.Error(codes.ResourceExhausted, "the maximum number of products is reached")
	}
	p.byID[product.Id] = product
	return &ecommerce.ProductID{Value: product.Id}, nil
}

func (p *products) GetProduct(_ context.Context, id *ecommerce.ProductID) (*ecommerce.Product, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	product, found := p.byID[id.GetValue()]
	if !found {
		return nil, status.Error(codes.NotFound, "no product has this id")
	}
	return product, nil
}
