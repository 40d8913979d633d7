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

// Whoever can call can add, and memory is all there is.
const productsMax = 100_000

// products is the service: a map, for as long as the process lives.
type products struct {
	ecommerce.UnimplementedProductInfoServer
	mu   sync.RWMutex
	byID map[string]*ecommerce.Product
}

func newProducts() *products {
	return &products{byID: map[string]*ecommerce.Product{}}
}

// AddProduct takes the id that the product has, or makes one.
func (p *products) AddProduct(_ context.Context, sent *ecommerce.Product) (*ecommerce.ProductID, error) {
	if sent.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "name is required")
	}
	if sent.GetPriceMinor() < 0 {
		return nil, status.Error(codes.InvalidArgument, "price_minor must be 0 or more")
	}
	// What is in the map is never changed, so that it can be handed out without a copy.
	product := proto.CloneOf(sent)
	if product.Id == "" {
		product.Id = rand.Text()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, taken := p.byID[product.Id]; taken {
		return nil, status.Error(codes.AlreadyExists, "there is a product with this id")
	}
	if len(p.byID) >= productsMax {
		return nil, status.Error(codes.ResourceExhausted, "there is no room for more products")
	}
	p.byID[product.Id] = product
	return &ecommerce.ProductID{Value: product.Id}, nil
}

func (p *products) GetProduct(_ context.Context, id *ecommerce.ProductID) (*ecommerce.Product, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	product, found := p.byID[id.GetValue()]
	if !found {
		return nil, status.Error(codes.NotFound, "there is no such product")
	}
	return product, nil
}
